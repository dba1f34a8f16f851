import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const compress = promisify(brotliCompress);
const page = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const FOREIGN_FUNCTION = 'new Function("return this")()';

/**
 * Plotly's strict build carries one bundler's way of finding the global object. It is never reached in a browser, but
 * nothing in what we serve may make code from text, not even unreached.
 */
function withoutFunctionFromText(): Plugin {
  return {
    name: "tenfold-without-function-from-text",
    transform(code, id) {
      if (!id.includes("plotly.js-") || !code.includes(FOREIGN_FUNCTION)) return null;
      return { code: code.replaceAll(FOREIGN_FUNCTION, "globalThis"), map: null };
    },
  };
}

/** Beside each text asset its Brotli form, which both servers send to browsers that can read it. */
function brotliBeside(): Plugin {
  return {
    name: "tenfold-brotli-beside",
    apply: "build",
    async writeBundle({ dir }, bundle) {
      for (const file of Object.keys(bundle).filter((name) => /\.(js|css|svg)$/.test(name))) {
        const source = await readFile(join(dir ?? "dist", file));
        // The last percents of a large file would take minutes.
        const quality = source.length > 1_000_000 ? 9 : 11;
        const params = { [constants.BROTLI_PARAM_QUALITY]: quality };
        await writeFile(join(dir ?? "dist", `${file}.br`), await compress(source, { params }));
      }
    },
  };
}

/**
 * Two builds into one folder, so that no chunk is shared between the two origins:
 * `--mode console` writes index.html and assets/ (served by the api), `--mode view` writes view.html and
 * view-assets/ (served by the gateway). `vite` alone serves both pages for development.
 */
export default defineConfig(({ mode }) => ({
  plugins: [react(), withoutFunctionFromText(), brotliBeside()],
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: mode === "console",
    assetsDir: mode === "view" ? "view-assets" : "assets",
    // A data: URL would need a hole in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 6000,
    rollupOptions: { input: page(mode === "view" ? "view.html" : "index.html") },
  },
  server: {
    host: "127.0.0.1",
    fs: { allow: [".."] },
    proxy: {
      "/api": process.env.TENFOLD_CONSOLE_URL ?? "http://localhost:7070",
      "/v1": process.env.TENFOLD_GATEWAY_URL ?? "http://127.0.0.1:7071",
    },
  },
  test: {
    environment: "jsdom",
    setupFiles: ["./vitest.setup.ts"],
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    testTimeout: 20_000,
  },
}));
