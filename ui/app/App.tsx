import { FlowsView } from "@/features/flows/FlowsView";
import type { Platform } from "@/platform/platform";

export type AppProps = { platform: Platform };

/** The whole window: for now one view. */
export function App({ platform }: AppProps) {
  return (
    <main>
      <FlowsView platform={platform} />
    </main>
  );
}
