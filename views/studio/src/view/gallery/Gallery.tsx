import { useEffect, useMemo } from "react";
import { registry } from "../components";
import { Engine } from "../engine/engine";
import { components } from "../manifest";
import { Shell } from "../page/Shell";
import { Toasts, useToasts } from "../page/Toasts";
import { kindsOf, ViewRenderer } from "../runtime";
import { EXAMPLES, type Example } from "./examples";
import styles from "./gallery.module.css";

const KINDS = kindsOf(registry);

/** Every component in each of its states, for the eye: `npm run dev`, then /view.html?gallery. */
export function Gallery() {
  const { toasts, toast, dismiss } = useToasts();
  useEffect(() => {
    document.title = "Component gallery";
  }, []);
  return (
    <Shell
      app={{ name: "gallery", title: "Component gallery" }}
      views={[]}
      current=""
      viewer={{ name: "", role: null }}
      online
      outdated={false}
      onReload={() => {}}
      onNavigate={() => {}}
    >
      <div className={styles.gallery}>
        {Object.entries(EXAMPLES).map(([type, examples]) => (
          <section key={type} className={styles.component} aria-label={type}>
            <h2 className={styles.title}>
              {components[type]?.title} <code>{type}</code>
            </h2>
            <p className={styles.description}>{components[type]?.description}</p>
            <div className={styles.examples}>
              {examples.map((example) => (
                <figure key={example.title} className={styles.example}>
                  <figcaption>{example.title}</figcaption>
                  <ExampleView example={example} toast={toast} />
                </figure>
              ))}
            </div>
          </section>
        ))}
      </div>
      <Toasts toasts={toasts} dismiss={dismiss} />
    </Shell>
  );
}

function ExampleView({ example, toast }: { example: Example; toast: (text: string, kind: "info") => void }) {
  const engine = useMemo(
    () =>
      new Engine(
        {
          view: 1,
          name: "example",
          title: example.title,
          queries: {},
          nodes: { page: { type: "page", props: { width: "full", heading: false } }, ...example.nodes },
        },
        {
          components: KINDS,
          context: { app: {}, viewer: {} },
          callQuery: () => Promise.reject(new Error("There is no server here.")),
          ui: {
            toast,
            confirm: async () => true,
            navigate: (target) => toast(JSON.stringify(target), "info"),
            download: (file) => toast(file.name, "info"),
            copy: async (text) => toast(text, "info"),
          },
        },
      ),
    [example, toast],
  );
  return <ViewRenderer engine={engine} registry={registry} />;
}
