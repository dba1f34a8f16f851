/** Finds what someone means by a few letters: a name that begins so, holds it, or holds the letters in order. */

interface Findable {
  title: string;
  detail?: string;
  group: string;
}

export function rank<Item extends Findable>(items: readonly Item[], text: string): Item[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [...items];
  const scored = items.flatMap((item, order) => {
    const score = Math.max(scoreOf(item.title, wanted), scoreOf(item.detail ?? "", wanted) - 1);
    return score > 0 ? [{ item, score, order }] : [];
  });
  const bestOf = new Map<string, number>();
  for (const { item, score } of scored) bestOf.set(item.group, Math.max(score, bestOf.get(item.group) ?? 0));
  // Groups stay whole, the one with the best hit first.
  return scored
    .sort(
      (a, b) =>
        (bestOf.get(b.item.group) ?? 0) - (bestOf.get(a.item.group) ?? 0) ||
        a.item.group.localeCompare(b.item.group) ||
        b.score - a.score ||
        a.order - b.order,
    )
    .map(({ item }) => item);
}

function scoreOf(name: string, wanted: string): number {
  const text = name.toLowerCase();
  if (text === wanted) return 100;
  if (text.startsWith(wanted)) return 80;
  if (text.split(/[\s\-_]+/).some((word) => word.startsWith(wanted))) return 60;
  if (text.includes(wanted)) return 40;
  return wanted.length > 1 && holdsInOrder(text, wanted) ? 10 : 0;
}

function holdsInOrder(text: string, letters: string): boolean {
  let from = 0;
  for (const letter of letters) {
    from = text.indexOf(letter, from) + 1;
    if (from === 0) return false;
  }
  return true;
}
