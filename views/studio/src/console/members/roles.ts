import type { Role } from "../api/types";

export const ROLES: Record<Role, { title: string; explanation: string }> = {
  admin: { title: "Admin", explanation: "Everything, members included." },
  editor: { title: "Editor", explanation: "Builds and publishes: models, apps and keys." },
  operator: { title: "Operator", explanation: "Runs things and reads logs, changes nothing." },
  viewer: { title: "Viewer", explanation: "Uses published apps." },
};
