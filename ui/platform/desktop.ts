import { invoke } from "@tauri-apps/api/core";
import type { FlowList, Platform } from "@/platform/platform";

/** The host inside the desktop window. */
export const desktop: Platform = {
  listFlows: () => invoke<FlowList>("list_flows"),
};
