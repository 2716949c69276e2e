/** The size of the ring that takes requested pages from the return-path worker to the background worker. */

/**
 * Entries. A destination asks once for a page and has at most one fault a thread under way, so this
 * holds more than any guest's vCPUs; when it is full the return path is simply read later.
 */
export const REQUEST_RING_CAPACITY = 16384;
