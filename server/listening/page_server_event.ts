/** What a server that listens tells of its clients. */

/** Figures of one client's connections. Pages are of 4 KiB, mostly: those of the image. */
export interface PageSessionStatistics {
  /** Number of the session, from 1. */
  readonly id: number;
  /** The client's host; of one that came by a unix socket `"a local client"`. */
  readonly client: string;
  /** Name of the image. */
  readonly image: string;
  /** Pages asked for. */
  readonly requests: number;
  /** Pages sent. */
  readonly pages: number;
  /** Bytes sent. */
  readonly bytes: number;
  /** Pages that this session has yet to send. */
  readonly remaining: number;
}

/** What happens at a server. */
export type PageServerEvent =
  /** A client gets an image: from its beginning, or what it lacks after a connection that broke. */
  | {
    readonly event: "begun" | "resumed";
    readonly id: number;
    readonly client: string;
    readonly image: string;
  }
  /** It has everything, or its connection ended, after which it may come again. */
  | ({
    readonly event: "ended";
    readonly complete: boolean;
    /** Why it does not have everything. */
    readonly reason?: string;
  } & PageSessionStatistics)
  /** Somebody connected and gets nothing. */
  | { readonly event: "refused"; readonly client: string; readonly reason: string }
  /** What the user should know besides. */
  | { readonly event: "note"; readonly text: string };
