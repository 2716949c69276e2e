/** The routes of the page: it shows nothing before it has a token, where one is needed. */

import { PAGE_PATHS, pageResponse } from "../page/page.ts";
import type { Api } from "./route_kit.ts";

/** Adds the routes. */
export function addPageRoutes(api: Api): void {
  for (const path of PAGE_PATHS) {
    api.get(
      path,
      async ({ req, notFound }) =>
        await pageResponse(path, req.header("if-none-match")) ?? notFound(),
    );
  }
}
