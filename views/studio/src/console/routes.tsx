import type { RouteObject } from "react-router";
import { CrashPage, NotFound } from "./shell/ErrorPages";
import { Home, ShortLink } from "./shell/Home";
import { Shell } from "./shell/Shell";
import { SignIn } from "./sign-in/SignIn";

/**
 * Pages live below `/w/{workspace}`, so that no workspace's name can hide one. Addresses without it (`/models/churn`)
 * go to the workspace that was open last: they are short enough to print in a terminal.
 */
export const routes: RouteObject[] = [
  {
    errorElement: <CrashPage />,
    // While the first page's code is on its way; a blank moment is calmer than a flash of a spinner.
    hydrateFallbackElement: <span role="status" aria-label="Loading" />,
    children: [
      { index: true, element: <Home /> },
      { path: "sign-in", element: <SignIn /> },
      {
        path: "w/:workspace",
        element: <Shell />,
        children: [
          {
            errorElement: <CrashPage />,
            children: [
              { index: true, element: <Home /> },
              { path: "models", lazy: () => import("./models/ModelList") },
              { path: "models/:model", lazy: () => import("./models/ModelPage") },
              { path: "models/:model/versions/:number", lazy: () => import("./models/VersionPage") },
              { path: "models/:model/compare", lazy: () => import("./models/ComparePage") },
              { path: "models/:model/:tab", lazy: () => import("./models/ModelPage") },
              { path: "zoo", lazy: () => import("./zoo/ZooPage") },
              { path: "zoo/:entry", lazy: () => import("./zoo/ZooEntryPage") },
              { path: "apps", lazy: () => import("./apps/AppList") },
              { path: "apps/:app", lazy: () => import("./apps/AppPage") },
              { path: "apps/:app/open/:view?", lazy: () => import("./apps/OpenView") },
              { path: "apps/:app/releases/:number", lazy: () => import("./apps/ReleasePage") },
              { path: "apps/:app/:tab", lazy: () => import("./apps/AppPage") },
              { path: "runs", lazy: () => import("./runs/RunList") },
              { path: "runs/:run", lazy: () => import("./runs/RunPage") },
              { path: "load", lazy: () => import("./load/LoadPage") },
              { path: "environments", lazy: () => import("./environments/EnvironmentList") },
              { path: "environments/:environment", lazy: () => import("./environments/EnvironmentPage") },
              { path: "secrets", lazy: () => import("./secrets/SecretsPage") },
              { path: "keys", lazy: () => import("./keys/KeysPage") },
              { path: "members", lazy: () => import("./members/MembersPage") },
              { path: "system", lazy: () => import("./system/SystemPage") },
              { path: "account", lazy: () => import("./account/AccountPage") },
              { path: "*", element: <NotFound /> },
            ],
          },
        ],
      },
      { path: "*", element: <ShortLink /> },
    ],
  },
];
