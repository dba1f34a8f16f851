import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./styles.css";
import { KitProvider } from "../kit/KitProvider";
import { installThemeVariables } from "../kit/variables";
import { App } from "./page/App";

installThemeVariables();

const root = createRoot(document.getElementById("root") as HTMLElement);
const isGallery = import.meta.env.DEV && new URLSearchParams(window.location.search).has("gallery");

if (isGallery) {
  const { Gallery } = await import("./gallery/Gallery");
  root.render(
    <KitProvider strict>
      <Gallery />
    </KitProvider>,
  );
} else {
  root.render(
    <StrictMode>
      <KitProvider strict>
        <App />
      </KitProvider>
    </StrictMode>,
  );
}
