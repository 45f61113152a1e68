// What the compiler does not see: rules of hooks, accessibility, and the one door to the host.

import a11y from "eslint-plugin-jsx-a11y";
import hooks from "eslint-plugin-react-hooks";
import { defineConfig } from "eslint/config";
import ts from "typescript-eslint";

const tauri = { group: ["@tauri-apps/*"], message: "only platform/desktop.ts talks to Tauri" };
const upwards = { group: ["../*"], message: "import from `@/`, so that files can move" };

export default defineConfig(
  { ignores: ["dist"] },
  {
    files: ["**/*.{ts,tsx}"],
    extends: [
      ts.configs.strictTypeChecked,
      a11y.flatConfigs.strict,
      hooks.configs.flat["recommended-latest"],
    ],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "no-console": "error",
      "no-restricted-imports": ["error", { patterns: [tauri, upwards] }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
    },
  },
  {
    files: ["platform/desktop.ts"],
    rules: { "no-restricted-imports": ["error", { patterns: [upwards] }] },
  },
);
