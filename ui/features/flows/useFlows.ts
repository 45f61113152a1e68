import { useCallback, useEffect, useState } from "react";
import { type CommandError, type FlowList, type Platform, toCommandError } from "@/platform/platform";

export type FlowsState =
  { is: "loading" } | { is: "failed"; error: CommandError } | { is: "ready"; list: FlowList };

/** An answer, and to which question it is one. */
type Answer = { to: number; state: FlowsState };

/** Asks for the flows once, and again on `reload`; an answer that comes after a newer question is dropped. */
export function useFlows(platform: Platform): { state: FlowsState; reload: () => void } {
  const [question, setQuestion] = useState(0);
  const [answer, setAnswer] = useState<Answer>({ to: -1, state: { is: "loading" } });
  useEffect(() => {
    let current = true;
    const settle = (state: FlowsState) => {
      if (current) {
        setAnswer({ to: question, state });
      }
    };
    platform.listFlows().then(
      (list) => {
        settle({ is: "ready", list });
      },
      (reason: unknown) => {
        settle({ is: "failed", error: toCommandError(reason) });
      },
    );
    return () => {
      current = false;
    };
  }, [platform, question]);
  const reload = useCallback(() => {
    setQuestion((last) => last + 1);
  }, []);
  return { state: answer.to === question ? answer.state : { is: "loading" }, reload };
}
