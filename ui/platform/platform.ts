// The one door to the host. Desktop and browser hosts implement this interface; nothing else imports Tauri.
// Names and shapes follow `src-tauri/src/commands.rs` until one declaration in Rust generates both.

/** How much a finding matters; errors stop a flow from running. */
export type Severity = "note" | "warning" | "error";

/** What is wrong or doubtful in a file of the user's. */
export type Finding = {
  rule: string;
  severity: Severity;
  message: string;
  place: { file?: string; line?: number; column?: number; node?: string };
  suggestion?: string;
};

/** One flow of the workspace. `findings` is absent where the flow was not checked; empty means in order. */
export type FlowEntry = { name: string; path: string; findings?: Finding[] };

/** The open folder: what is wrong with its own files, and its flows. */
export type FlowList = { workspace: string; findings: Finding[]; flows: FlowEntry[] };

/** An error as every host gives it. */
export type CommandError = { code: string; message: string; hints: string[] };

export type Platform = {
  /** The flows of the open workspace, by name. Rejects with a `CommandError`. */
  listFlows(): Promise<FlowList>;
};

/** What a rejected command says; anything unexpected becomes an internal error that can be reported. */
export function toCommandError(reason: unknown): CommandError {
  if (typeof reason === "object" && reason !== null && "code" in reason && "message" in reason) {
    const hints = "hints" in reason && Array.isArray(reason.hints) ? reason.hints.map(String) : [];
    return { code: String(reason.code), message: String(reason.message), hints };
  }
  const message = reason instanceof Error ? reason.message : String(reason);
  return { code: "internal", message, hints: ["please report this, with the text above"] };
}
