/**
 * Joins several streams into one, each chunk as it comes.
 *
 * @param streams The streams to read.
 * @returns A stream that ends when all of them have ended, and fails when one fails.
 */
export function mergeReadableStreams<T>(...streams: ReadableStream<T>[]): ReadableStream<T> {
  return new ReadableStream<T>({
    async start(controller) {
      try {
        await Promise.all(streams.map(async (stream) => {
          for await (const chunk of stream) controller.enqueue(chunk);
        }));
        controller.close();
      } catch (error) {
        controller.error(error);
      }
    },
  });
}
