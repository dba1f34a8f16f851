import { lazy, Suspense } from "react";
import { flag, type ViewComponent, type ViewProps } from "../contract";

const Dialog = lazy(() => import("./Dialog"));

function Modal(view: ViewProps) {
  return (
    <Suspense>
      <Dialog {...view} />
    </Suspense>
  );
}

export const modal: ViewComponent = {
  type: "modal",
  Component: Modal,
  outputsOf: (_props, local) => ({ opened: flag(local.opened) }),
};
