import type { Finding, FlowEntry } from "@/platform/platform";

export type Summary = { tone: "plain" | "good" | "warning" | "error"; text: string };

/** What one line says about a flow's check. Not checked is said as such, never shown as in order. */
export function summarise(flow: FlowEntry): Summary {
  if (flow.findings === undefined) {
    return { tone: "plain", text: "not checked" };
  }
  const errors = count(flow.findings, "error");
  const warnings = count(flow.findings, "warning");
  const parts = [plural(errors, "error"), plural(warnings, "warning")].filter((part) => part !== "");
  if (parts.length === 0) {
    return { tone: "good", text: "in order" };
  }
  return { tone: errors > 0 ? "error" : "warning", text: parts.join(", ") };
}

/** File, line and node of a finding, as far as they are known. */
export function placeOf({ place }: Finding): string {
  const file =
    place.file === undefined
      ? ""
      : [place.file, place.line, place.column].filter((part) => part !== undefined).join(":");
  const node = place.node === undefined ? "" : `node ${place.node}`;
  return [file, node].filter((part) => part !== "").join(", ");
}

function count(findings: Finding[], severity: Finding["severity"]): number {
  return findings.filter((finding) => finding.severity === severity).length;
}

function plural(number: number, noun: string): string {
  if (number === 0) {
    return "";
  }
  return `${number.toString()} ${noun}${number === 1 ? "" : "s"}`;
}
