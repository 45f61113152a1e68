import { placeOf, summarise } from "@/features/flows/summary";
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
      {flow.findings !== undefined && flow.findings.length > 0 && (
        <ul className="findings" aria-label={`Findings in ${flow.name}`}>
          {flow.findings.map((finding) => (
            <li key={`${finding.rule} ${placeOf(finding)} ${finding.message}`}>
              <strong>{finding.severity}</strong> {finding.message}
              {placeOf(finding) !== "" && <span className="quiet"> ({placeOf(finding)})</span>}
              {finding.suggestion !== undefined && <p className="quiet">{finding.suggestion}</p>}
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}
