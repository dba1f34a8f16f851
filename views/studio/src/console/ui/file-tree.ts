/** Paths as a tree: folders first, then names in order. */

export interface FileEntry {
  path: string;
  size: number;
}

export interface TreeNode {
  name: string;
  path: string;
  size: number;
  children: TreeNode[];
}

export function buildTree(files: readonly FileEntry[]): TreeNode[] {
  const root: TreeNode = { name: "", path: "", size: 0, children: [] };
  for (const file of files) insert(root, file.path.split("/"), file);
  return sorted(root.children);
}

/** Large and binary files have no text worth showing. */
export function isReadable({ path, size }: FileEntry): boolean {
  return (
    size <= 512 * 1024 &&
    !/\.(joblib|pkl|pickle|skops|npz?|bin|safetensors|pt|pth|onnx|h5|keras|ubj|png|jpe?g|gif|webp|zip|gz|whl|parquet)$/i.test(
      path,
    )
  );
}

function insert(parent: TreeNode, [name = "", ...rest]: string[], file: FileEntry): void {
  const path = parent.path ? `${parent.path}/${name}` : name;
  let node = parent.children.find((child) => child.name === name);
  if (!node) {
    node = { name, path, size: 0, children: [] };
    parent.children.push(node);
  }
  if (rest.length === 0) node.size = file.size;
  else insert(node, rest, file);
}

function sorted(nodes: TreeNode[]): TreeNode[] {
  return nodes
    .map((node) => ({ ...node, children: sorted(node.children) }))
    .sort(
      (a, b) => Number(b.children.length > 0) - Number(a.children.length > 0) || a.name.localeCompare(b.name),
    );
}
