const NAME = /^[a-z][a-z0-9-]{0,62}$/;

export const NAME_RULE = "Small letters, digits and hyphens; begins with a letter; at most 63.";

export function isName(text: string): boolean {
  return NAME.test(text);
}

/** A name for a title: "Fraud team 2" is `fraud-team-2`. */
export function nameFrom(title: string): string {
  return title
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 63);
}
