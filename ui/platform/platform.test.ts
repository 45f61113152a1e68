import { expect, test } from "vitest";
import { toCommandError } from "@/platform/platform";

test("an error of the host keeps its code and its hints", () => {
  const error = { code: "unreadable_workspace", message: "`x` cannot be read", hints: ["open another"] };
  expect(toCommandError(error)).toEqual(error);
});

test("anything else becomes an internal error that can be reported", () => {
  expect(toCommandError(new TypeError("broken")).code).toBe("internal");
  expect(toCommandError("not allowed by ACL").message).toBe("not allowed by ACL");
});
