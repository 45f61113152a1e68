import { placeOf } from "@/features/flows/summary";
import type { Finding } from "@/platform/platform";

export type FindingListProps = { of: string; findings: Finding[] };

/** Findings as lines: how bad, what, where, and what to do. Nothing where there are none. */
export function FindingList({ of, findings }: FindingListProps) {
  if (findings.length === 0) {
    return null;
  }
  return (
    <ul className="findings" aria-label={`Findings in ${of}`}>
      {findings.map((finding) => (
        <li key={`${finding.rule} ${placeOf(finding)} ${finding.message}`}>
          <strong>{finding.severity}</strong> {finding.message}
          {placeOf(finding) !== "" && <span className="quiet"> ({placeOf(finding)})</span>}
          {finding.suggestion !== undefined && <p className="quiet">{finding.suggestion}</p>}
        </li>
      ))}
    </ul>
  );
}
