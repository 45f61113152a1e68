import { cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { FlowsView } from "@/features/flows/FlowsView";
import type { FlowList, Platform } from "@/platform/platform";

afterEach(cleanup);

/** A host whose answers the test gives, one a question. */
function host(...answers: Promise<FlowList>[]): Platform {
  return { listFlows: () => answers.shift() ?? Promise.reject(new Error("asked once too often")) };
}

function workspace(flows: FlowList["flows"]): Promise<FlowList> {
  return Promise.resolve({ workspace: "handbook", findings: [], flows });
}

test("while the workspace is read, the view says so", () => {
  render(<FlowsView platform={host(new Promise(() => undefined))} />);
  expect(screen.getByRole("status").textContent).toBe("Reading the workspace…");
  expect(screen.getByRole("region", { name: "Flows" }).getAttribute("aria-busy")).toBe("true");
});

test("each flow shows what its check found", async () => {
  const finding = {
    rule: "unknown-reference",
    severity: "error" as const,
    message: "nothing is called `fetch`",
    place: { file: "flow.dag.yaml", line: 9, node: "answer" },
    suggestion: "did you mean `search`?",
  };
  const flows = [
    { name: "ask-docs", path: "flows/ask-docs", findings: [] },
    { name: "triage", path: "flows/triage", findings: [finding] },
    { name: "new", path: "flows/new" },
  ];
  render(<FlowsView platform={host(workspace(flows))} />);
  expect(await screen.findByRole("heading", { name: "ask-docs" })).toBeTruthy();
  for (const text of ["in order", "1 error", "not checked"]) {
    expect(screen.getByText(text)).toBeTruthy();
  }
  const findings = within(screen.getByRole("list", { name: "Findings in triage" }));
  expect(findings.getByRole("listitem").textContent).toBe(
    "error nothing is called `fetch` (flow.dag.yaml:9, node answer)did you mean `search`?",
  );
});

test("a folder without flows says what a flow is", async () => {
  render(<FlowsView platform={host(workspace([]))} />);
  expect(await screen.findByText(/This folder has no flows yet/)).toBeTruthy();
});

test("a failure shows message, hint and code, and can be tried again", async () => {
  const hints = ["open another folder"];
  const error = Object.assign(new Error("`x` cannot be read"), { code: "unreadable_workspace", hints });
  const again = workspace([{ name: "triage", path: "flows/triage" }]);
  render(<FlowsView platform={host(Promise.reject(error), again)} />);
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toBe("`x` cannot be readopen another folderunreadable_workspace");
  fireEvent.click(screen.getByRole("button", { name: "Check again" }));
  expect(await screen.findByRole("heading", { name: "triage" })).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});
