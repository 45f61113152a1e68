import { FindingList } from "@/features/flows/FindingList";
import { summarise } from "@/features/flows/summary";
import type { FlowEntry } from "@/platform/platform";

export type FlowCardProps = { flow: FlowEntry };

/** One flow: name, where it is, and what is wrong with it. */
export function FlowCard({ flow }: FlowCardProps) {
  const summary = summarise(flow);
  return (
    <li className={`card ${summary.tone}`}>
      <div className="bar">
        <h2>{flow.name}</h2>
        <span className={`badge ${summary.tone}`}>{summary.text}</span>
      </div>
      <p className="quiet">{flow.path}</p>
      {flow.findings !== undefined && <FindingList of={flow.name} findings={flow.findings} />}
    </li>
  );
}
