import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "@/app/App";
import { desktop } from "@/platform/desktop";

const root = document.getElementById("root");
if (root === null) {
  throw new Error("the page has no element `root`");
}
createRoot(root).render(
  <StrictMode>
    <App platform={desktop} />
  </StrictMode>,
);
