import { ActionIcon, TextInput } from "@mantine/core";
import {
  IconArrowDown,
  IconArrowUp,
  IconChevronLeft,
  IconChevronRight,
  IconSearch,
  IconSelector,
} from "@tabler/icons-react";
import {
  type ColumnDef,
  flexRender,
  getCoreRowModel,
  getFilteredRowModel,
  getPaginationRowModel,
  getSortedRowModel,
  useReactTable,
} from "@tanstack/react-table";
import { type KeyboardEvent, useMemo, useState } from "react";
import type { JsonObject } from "../../engine/document";
import { same } from "../../engine/values";
import { flag, number, text, type ViewProps } from "../contract";
import { cellText, columnsOf, compareCells, isNothing, rowsOf } from "./rows";
import styles from "./table.module.css";

export default function Table({ props, outputs, setLocal, emit }: ViewProps) {
  const rows = useMemo(() => rowsOf(props.rows), [props.rows]);
  const columns = useMemo(() => columnsOf(props.columns, rows), [props.columns, rows]);
  const definitions = useMemo(
    () =>
      columns.map(
        (column): ColumnDef<JsonObject> => ({
          id: column.key,
          accessorFn: (row) => row[column.key],
          header: column.title,
          cell: (cell) => cellText(cell.getValue() as never, column.digits),
          sortUndefined: "last",
          sortingFn: (left, right) => compareCells(left.original[column.key], right.original[column.key]),
        }),
      ),
    [columns],
  );
  const [filter, setFilter] = useState("");
  const table = useReactTable({
    data: rows,
    columns: definitions,
    state: { globalFilter: filter },
    onGlobalFilterChange: setFilter,
    globalFilterFn: (row, _column, wanted: string) =>
      columns.some(({ key, digits }) =>
        cellText(row.original[key], digits).toLowerCase().includes(wanted.toLowerCase()),
      ),
    initialState: { pagination: { pageIndex: 0, pageSize: number(props.page_size) ?? 10 } },
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
    getFilteredRowModel: getFilteredRowModel(),
    getPaginationRowModel: getPaginationRowModel(),
    autoResetPageIndex: true,
    enableGlobalFilter: true,
  });

  const label = text(props.label, "Table");
  const selectable = props.select === "single";
  const choose = (row: JsonObject) => {
    setLocal({ selected: row });
    emit("select", { row });
  };
  const { pageIndex, pageSize } = table.getState().pagination;
  const found = table.getFilteredRowModel().rows.length;
  const align = (key: string) => columns.find((column) => column.key === key)?.align ?? "left";

  return (
    <div className={styles.table}>
      {flag(props.searchable) && rows.length > 5 && (
        <TextInput
          className={styles.search}
          size="sm"
          type="search"
          placeholder="Search"
          aria-label={`Search ${label}`}
          leftSection={<IconSearch aria-hidden size={16} />}
          value={filter}
          onChange={(event) => setFilter(event.currentTarget.value)}
        />
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className={styles.scroll} aria-label={label} tabIndex={0}>
        <table aria-label={label} aria-rowcount={found}>
          <thead>
            <tr>
              {table.getFlatHeaders().map((header) => {
                const sorted = header.column.getIsSorted();
                return (
                  <th
                    key={header.id}
                    scope="col"
                    data-align={align(header.id)}
                    aria-sort={sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : "none"}
                  >
                    <button
                      type="button"
                      className={styles.sort}
                      onClick={header.column.getToggleSortingHandler()}
                    >
                      {flexRender(header.column.columnDef.header, header.getContext())}
                      {sorted === "asc" && <IconArrowUp aria-hidden size={14} />}
                      {sorted === "desc" && <IconArrowDown aria-hidden size={14} />}
                      {!sorted && <IconSelector aria-hidden size={14} className={styles.unsorted} />}
                    </button>
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {table.getRowModel().rows.map((row) => (
              <tr
                key={row.id}
                data-selectable={selectable || undefined}
                aria-selected={selectable ? same(outputs.selected, row.original) : undefined}
                tabIndex={selectable ? 0 : undefined}
                onClick={selectable ? () => choose(row.original) : undefined}
                onKeyDown={selectable ? (event) => onRowKey(event, () => choose(row.original)) : undefined}
              >
                {row.getVisibleCells().map((cell) => (
                  <td
                    key={cell.id}
                    data-align={align(cell.column.id)}
                    data-nothing={isNothing(cell.getValue() as never) || undefined}
                  >
                    {flexRender(cell.column.columnDef.cell, cell.getContext()) || "–"}
                  </td>
                ))}
              </tr>
            ))}
            {found === 0 && (
              <tr>
                <td colSpan={columns.length} className={styles.none}>
                  Nothing matches “{filter}”.
                </td>
              </tr>
            )}
          </tbody>
        </table>
      </section>
      <div className={styles.footer}>
        <span aria-live="polite">
          {found > pageSize
            ? `${pageIndex * pageSize + 1}–${Math.min((pageIndex + 1) * pageSize, found)} of ${found}`
            : `${found} ${found === 1 ? "row" : "rows"}`}
        </span>
        {table.getPageCount() > 1 && (
          <span className={styles.pages}>
            <ActionIcon
              variant="default"
              aria-label="Previous page"
              disabled={!table.getCanPreviousPage()}
              onClick={() => table.previousPage()}
            >
              <IconChevronLeft aria-hidden size={16} />
            </ActionIcon>
            <ActionIcon
              variant="default"
              aria-label="Next page"
              disabled={!table.getCanNextPage()}
              onClick={() => table.nextPage()}
            >
              <IconChevronRight aria-hidden size={16} />
            </ActionIcon>
          </span>
        )}
      </div>
    </div>
  );
}

function onRowKey(event: KeyboardEvent<HTMLTableRowElement>, choose: () => void): void {
  const row = event.currentTarget;
  const target =
    event.key === "ArrowDown"
      ? row.nextElementSibling
      : event.key === "ArrowUp"
        ? row.previousElementSibling
        : null;
  if (target instanceof HTMLElement) target.focus();
  else if (event.key === "Enter" || event.key === " ") choose();
  else return;
  event.preventDefault();
}
