/** Workers that do one job at a time: a message in, work that may block, a message out. */

interface Answer<Result> {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

/** A worker whose module calls {@linkcode serveJobs}. */
export class JobWorker<Job, Result> implements Disposable {
  readonly #worker: Worker;
  #answer: Answer<Result | undefined> | undefined;
  #failure: Error | undefined;

  private constructor(module: URL, name: string) {
    this.#worker = new Worker(module, { type: "module", name });
    this.#worker.onmessage = ({ data }: MessageEvent<Result | undefined>) => {
      const answer = this.#answer;
      this.#answer = undefined;
      answer?.resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault(); // reported by whoever waits for the answer
      this.#failure = new Error(`Worker ${name} failed: ${event.message}`);
      this.#answer?.reject(this.#failure);
      this.#answer = undefined;
    };
  }

  /**
   * Starts a worker; takes about 20 ms.
   *
   * @param module the worker's entry file
   * @throws {Error} when the module fails
   */
  static async start<Job, Result>(module: URL, name: string): Promise<JobWorker<Job, Result>> {
    const worker = new JobWorker<Job, Result>(module, name);
    await worker.#next();
    return worker;
  }

  /**
   * Gives the worker a job; one at a time.
   *
   * @returns what the job returned
   * @throws {Error} when the job failed
   */
  run(job: Job): Promise<Result> {
    this.#worker.postMessage(job);
    return this.#next() as Promise<Result>;
  }

  /** Ends the worker. A thread that blocks in native code ends when it is released. */
  close(): void {
    this.#worker.terminate();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #next(): Promise<Result | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#failure === undefined) this.#answer = { resolve, reject };
      else reject(this.#failure);
    });
  }
}

/** What a worker's global scope has that a page's does not. */
interface WorkerScope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
}

/** Called once by a worker's module: answers every message with what `work` returns for it. */
export function serveJobs<Job, Result>(work: (job: Job) => Result): void {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }: MessageEvent<Job>) => scope.postMessage(work(data));
  scope.postMessage(undefined); // ready
}
