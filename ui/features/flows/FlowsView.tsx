import { FlowCard } from "@/features/flows/FlowCard";
import { FindingList } from "@/features/flows/FindingList";
import { type FlowsState, useFlows } from "@/features/flows/useFlows";
import type { FlowEntry, Platform } from "@/platform/platform";

export type FlowsViewProps = { platform: Platform };

/** The flows of the open workspace, each with what its check found. */
export function FlowsView({ platform }: FlowsViewProps) {
  const { state, reload } = useFlows(platform);
  return (
    <section aria-labelledby="flows-title" aria-busy={state.is === "loading"}>
      <header className="bar">
        <div>
          <h1 id="flows-title">Flows</h1>
          {state.is === "ready" && <p className="quiet">{state.list.workspace}</p>}
        </div>
        <button type="button" onClick={reload} disabled={state.is === "loading"}>
          Check again
        </button>
      </header>
      <Content state={state} />
    </section>
  );
}

function Content({ state }: { state: FlowsState }) {
  switch (state.is) {
    case "loading":
      return <p role="status">Reading the workspace…</p>;
    case "failed":
      return (
        <div role="alert" className="card error">
          <p>{state.error.message}</p>
          {state.error.hints.map((hint) => (
            <p key={hint} className="quiet">
              {hint}
            </p>
          ))}
          <p className="quiet">
            <code>{state.error.code}</code>
          </p>
        </div>
      );
    case "ready":
      return (
        <>
          <FindingList of="the workspace" findings={state.list.findings} />
          <Flows flows={state.list.flows} />
        </>
      );
  }
}

function Flows({ flows }: { flows: FlowEntry[] }) {
  if (flows.length === 0) {
    return (
      <p>
        This folder has no flows yet. A flow is a folder below <code>flows/</code> with a{" "}
        <code>flow.dag.yaml</code> in it.
      </p>
    );
  }
  return (
    <ul className="cards">
      {flows.map((flow) => (
        <FlowCard key={flow.path} flow={flow} />
      ))}
    </ul>
  );
}
