// A small WebDriver client: just what the journeys need, over `fetch`, with waits that ask until they are answered.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { createServer } from "node:net";
import { inflateSync } from "node:zlib";

/** The key under which WebDriver hands out references to elements. */
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
/** Generous, because a cold start on two busy cores loads a whole browser engine. */
const PATIENCE_MS = 60_000;

/** @returns {Promise<number>} a port that nothing listens on */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") {
    throw new Error("the system gave no port");
  }
  return address.port;
}

/**
 * Asks until the answer is neither an error nor `undefined`.
 * @template T
 * @param {string} what
 * @param {() => Promise<T | undefined>} ask
 * @returns {Promise<T>}
 */
export async function eventually(what, ask) {
  const deadline = performance.now() + PATIENCE_MS;
  let last = "no answer";
  while (performance.now() < deadline) {
    try {
      const answer = await ask();
      if (answer !== undefined) {
        return answer;
      }
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s (${last})`);
}

/**
 * Whether a PNG shows nothing: a plain surface has a handful of different bytes, written text hundreds.
 * @param {Buffer} png
 */
function isBlank(png) {
  const data = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") {
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
    }
  }
  return new Set(inflateSync(Buffer.concat(data))).size < 32;
}

/** The driver program, and the one window it drives. */
export class Window {
  #driver;
  #base;
  #session = "";

  /** @param {import("node:child_process").ChildProcess} driver @param {string} base */
  constructor(driver, base) {
    this.#driver = driver;
    this.#base = base;
  }

  /**
   * Starts `WebKitWebDriver`, which starts the application.
   * @param {string} binary @param {string[]} args @param {string} logFile
   */
  static async open(binary, args, logFile) {
    const port = await freePort();
    // A file rather than our own output: whoever reads that would wait for the last process that holds it.
    const log = await open(logFile, "w");
    // The driver hands its environment on; this is how a Tauri program is told to let itself be driven.
    const env = { ...process.env, TAURI_WEBVIEW_AUTOMATION: "true" };
    const driver = spawn("WebKitWebDriver", [`--port=${port}`], {
      stdio: ["ignore", "inherit", "inherit"],
      env,
    });
    await log.close();
    const window = new Window(driver, `http://127.0.0.1:${port}`);
    try {
      await eventually("the driver", () => window.#ask("GET", "/status"));
      const options = { binary, args };
      const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options } };
      const created = await window.#ask("POST", "/session", { capabilities });
      window.#session = `/session/${created.sessionId}`;
    } catch (error) {
      await window.close();
      throw error;
    }
    return window;
  }

  /** @param {string} method @param {string} path @param {unknown} [body] */
  async #ask(method, path, body) {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const response = await fetch(this.#base + path, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
    const { value } = await response.json();
    if (!response.ok) {
      throw new Error(`${value?.error}: ${value?.message}`);
    }
    return value;
  }

  /** @param {string} method @param {string} path @param {unknown} [body] */
  async #here(method, path, body) {
    return this.#ask(method, this.#session + path, body);
  }

  /**
   * The first element that the XPath finds, once there is one.
   * @param {string} xpath
   * @returns {Promise<string>}
   */
  async find(xpath) {
    return eventually(xpath, async () => {
      const found = await this.#here("POST", "/element", { using: "xpath", value: xpath });
      return found[ELEMENT];
    });
  }

  /** @param {string} element @returns {Promise<string>} */
  async textOf(element) {
    return this.#here("GET", `/element/${element}/text`);
  }

  /** @param {string} element */
  async click(element) {
    await this.#here("POST", `/element/${element}/click`, {});
  }

  /**
   * Runs the body of a function in the page.
   * @param {string} script @param {unknown[]} [args]
   */
  async run(script, args = []) {
    return this.#here("POST", "/execute/sync", { script, args });
  }

  /** The window as a picture, once something has been painted on it. */
  async screenshot() {
    return eventually("a painted window", async () => {
      const picture = Buffer.from(await this.#here("GET", "/screenshot"), "base64");
      return isBlank(picture) ? undefined : picture;
    });
  }

  /** Closes the window and ends the driver. */
  async close() {
    if (this.#session !== "") {
      await this.#here("DELETE", "");
    }
    if (this.#driver.exitCode === null && this.#driver.signalCode === null) {
      this.#driver.kill();
      await once(this.#driver, "exit");
    }
  }
}
