import { useAction, usePlace } from "../api/queries";
import type { Version } from "../api/types";
import { useConfirm } from "../ui/Confirm";

/** One word for a version: how its preparation went, and once it is ready, whether it runs. */
export function statusOf({ state, deployment }: Version): string {
  if (state !== "ready") return state;
  return deployment?.status ?? "stopped";
}

/** Promote, roll back, start and stop, each asking first where callers would notice. */
export function useVersionActions(model: string, version: Version, production: number | null) {
  const { api } = usePlace();
  const confirm = useConfirm();
  const { number } = version;
  const isProduction = version.aliases.includes("production");
  const isRollback = production !== null && number < production;
  const promoteTitle = isRollback ? "Roll back to this" : "Promote to production";

  const setAlias = useAction({
    run: (alias: string) => api.setAlias(model, alias, number),
    done: (_, alias) => `${alias} is now version ${number}`,
    failed: "Could not move the alias",
  });
  const start = useAction({
    run: () => api.startVersion(model, number),
    done: `Starting version ${number}`,
    failed: "Could not start it",
  });
  const stop = useAction({
    run: () => api.stopVersion(model, number),
    done: `Stopping version ${number}`,
    failed: "Could not stop it",
  });

  const restart = useAction({
    run: () => api.restartVersion(model, number),
    done: `Restarting version ${number}; it answers meanwhile`,
    failed: "Could not restart it",
  });

  const serveOriginal = useAction({
    run: () => api.serveOriginal(model, number),
    done: `Version ${number} is served as it was deployed; it answers meanwhile`,
    failed: "Could not take the compiled form back",
  });

  return {
    isProduction,
    isRollback,
    promoteTitle,
    isOn: (version.deployment?.desired_replicas ?? 0) > 0 || version.deployment?.status === "asleep",
    isBusy:
      setAlias.isPending || start.isPending || stop.isPending || restart.isPending || serveOriginal.isPending,
    start: () => start.mutate(),
    restart: () => restart.mutate(),
    async promote() {
      const isSure = await confirm({
        title: isRollback ? `Roll back to version ${number}?` : `Promote version ${number}?`,
        body: production
          ? `Callers of ${model} get version ${number} instead of version ${production}. Requests in flight finish where they are.`
          : `Callers of ${model} get version ${number}.`,
        action: isRollback ? "Roll back" : "Promote",
      });
      if (isSure) setAlias.mutate("production");
    },
    async serveOriginal() {
      const isSure = await confirm({
        title: `Serve version ${number} as it was deployed?`,
        body: "Its compiled form is taken back for good; a later deploy is compiled again. No call fails meanwhile.",
        action: "Serve the original",
      });
      if (isSure) serveOriginal.mutate();
    },
    async alias(name: string) {
      setAlias.mutate(name);
    },
    async stop() {
      const names =
        version.aliases.length > 0
          ? ` It is ${version.aliases.join(" and ")}: those calls will answer 503.`
          : "";
      const isSure = await confirm({
        title: `Stop version ${number}?`,
        body: `Its replicas finish what they are doing and end.${names} It can be started again.`,
        action: "Stop",
        isDestructive: true,
      });
      if (isSure) stop.mutate();
    },
  };
}
