import { expect, test } from "vitest";
import { placeOf, summarise } from "@/features/flows/summary";
import type { Finding, Severity } from "@/platform/platform";

function finding(severity: Severity, place: Finding["place"] = {}): Finding {
  return { rule: "unknown-reference", severity, message: "nothing is called `x`", place };
}

test.each<[Finding[] | undefined, string, string]>([
  [undefined, "plain", "not checked"],
  [[], "good", "in order"],
  [[finding("note")], "good", "in order"],
  [[finding("warning")], "warning", "1 warning"],
  [[finding("error"), finding("error"), finding("warning")], "error", "2 errors, 1 warning"],
])("findings %j read as %s: %s", (findings, tone, text) => {
  const flow = { name: "a", path: "flows/a", ...(findings === undefined ? {} : { findings }) };
  expect(summarise(flow)).toEqual({ tone, text });
});

test("a place says as much as is known", () => {
  expect(placeOf(finding("error"))).toBe("");
  expect(placeOf(finding("error", { node: "answer" }))).toBe("node answer");
  const place = { file: "flow.dag.yaml", line: 4, column: 7, node: "answer" };
  expect(placeOf(finding("error", place))).toBe("flow.dag.yaml:4:7, node answer");
});
