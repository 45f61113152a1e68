// The journey through the real window: it opens on a workspace and lists its flows.
//
// Run by `cargo xtask test --only window`, which builds the program and gives it a screen and a session bus.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { eventually, Window } from "./webdriver.js";

const application = process.env.FLOWBENCH_APP ?? assert.fail("FLOWBENCH_APP names the program to open");
const pictures = process.env.FLOWBENCH_SCREENSHOTS ?? assert.fail("FLOWBENCH_SCREENSHOTS names a folder");

const FLOW = `inputs:
  question: {type: string}
outputs:
  answer: {type: string, reference: "\${reply.output}"}
nodes:
  - name: reply
    type: prompt
    source: {type: code, path: reply.jinja2}
    inputs: {question: "\${inputs.question}"}
`;

/** @type {string} */
let workspace;
/** @type {Window} */
let window;

/** @param {string} name @param {string} [text] */
async function addFlow(name, text = FLOW) {
  const folder = join(workspace, "flows", name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "flow.dag.yaml"), text);
  await writeFile(join(folder, "reply.jinja2"), "{{question}}\n");
}

before(async () => {
  workspace = await mkdtemp(join(tmpdir(), "flowbench-window-"));
  await writeFile(join(workspace, "flowbench.yaml"), "name: window\n");
  await addFlow("greet");
  await addFlow("triage", FLOW.replace("${reply.output}", "${answer.output}"));
  await mkdir(pictures, { recursive: true });
  window = await Window.open(application, [workspace], join(pictures, "window.log"));
});

after(async () => {
  await window?.close();
  await rm(workspace, { recursive: true });
});

test("the window opens on the workspace and lists its flows with their findings", async () => {
  assert.equal(await window.textOf(await window.find("//h1")), "Flows");
  for (const [name, badge] of [
    ["greet", "in order"],
    ["triage", "1 error"],
  ]) {
    await window.find(`//li[.//h2[normalize-space()='${name}']]//span[normalize-space()='${badge}']`);
  }
  const finding = await window.textOf(await window.find("//ul[@aria-label='Findings in triage']/li"));
  assert.match(finding, /`answer` does not exist/, "it names what is missing");
  assert.match(finding, /\(flows\/triage\/flow\.dag\.yaml:4:\d+\)/, "and where, seen from the workspace");
  await writeFile(join(pictures, "flows.png"), await window.screenshot());
});

test("a flow that was added since shows up when asked again", async () => {
  await addFlow("added");
  await window.click(await window.find("//button[normalize-space()='Check again']"));
  await window.find("//h2[normalize-space()='added']");
});

test("the page can neither run text as code nor reach a server", async () => {
  const attempts = await window.run(`
    const outcome = {};
    const script = document.createElement("script");
    try { script.textContent = "window.forged = true"; document.body.append(script); } catch { outcome.refused = true; }
    outcome.forged = window.forged === true;
    outcome.policy = [];
    document.addEventListener("securitypolicyviolation", (event) => outcome.policy.push(event.effectiveDirective));
    window.attempts = outcome;
    fetch("http://127.0.0.1:9/").catch(() => { outcome.fetch = "refused"; });
    return outcome;
  `);
  assert.equal(attempts.forged, false, "an inline script must not run");
  const directive = await eventually("the policy to stop the request", async () => {
    const outcome = await window.run("return window.attempts");
    return outcome.fetch === "refused"
      ? outcome.policy.find((/** @type {string} */ name) => name === "connect-src")
      : undefined;
  });
  assert.equal(directive, "connect-src");
});

test("the page has no power over files, shell or windows of the host", async () => {
  const outcome = await window.run(`
    window.power = undefined;
    window.__TAURI_INTERNALS__.invoke("plugin:window|close", {}).then(
      () => { window.power = "granted"; },
      (error) => { window.power = String(error); },
    );
  `);
  assert.equal(outcome ?? null, null);
  const answer = await eventually(
    "an answer",
    async () => (await window.run("return window.power")) ?? undefined,
  );
  assert.match(answer, /not allowed/, "nothing but our own commands is granted");
});
