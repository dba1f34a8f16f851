import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "../kit/font.css";
import "../kit/tokens.css";
import "../kit/motion.css";
import "./console.css";
import { createRoot } from "react-dom/client";
import { createBrowserRouter } from "react-router";
import { App } from "./App";
import { routes } from "./routes";

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(<App router={createBrowserRouter(routes)} />);
