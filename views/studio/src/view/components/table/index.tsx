import { Skeleton } from "@mantine/core";
import { IconTable } from "@tabler/icons-react";
import { lazy, Suspense } from "react";
import type { JsonObject } from "../../engine/document";
import { same } from "../../engine/values";
import { text, type ViewComponent, type ViewProps } from "../contract";
import { Empty } from "../Empty";
import { rowsOf } from "./rows";

const Table = lazy(() => import("./Table"));

function TableView(view: ViewProps) {
  const { props } = view;
  if (rowsOf(props.rows).length === 0) return <Empty Icon={IconTable} text={text(props.empty)} />;
  return (
    <Suspense fallback={<Skeleton height={280} role="status" aria-label="Loading" />}>
      <Table {...view} />
    </Suspense>
  );
}

/** The chosen row, as long as it is still among the rows. */
function outputsOf(props: JsonObject, local: JsonObject): JsonObject {
  const wanted = local.selected ?? null;
  return { selected: wanted !== null && rowsOf(props.rows).some((row) => same(row, wanted)) ? wanted : null };
}

export const table: ViewComponent = { type: "table", Component: TableView, outputsOf, skeleton: 280 };
