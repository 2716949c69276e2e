/** A daemon from its start to its end. */

import { ApiServer } from "../api/listen.ts";
import type { DaemonConfig } from "../config/config.ts";
import { readConfig } from "../config/read_config.ts";
import type { Logger } from "../npm/logtape.ts";
import { requireDirectories } from "../service/required_directories.ts";
import { Service } from "../service/service.ts";
import { takeUpKept } from "./kept_sessions.ts";
import { EarlySignals, Life, type LifeEnd } from "./life.ts";
import { DaemonLog } from "./log.ts";
import { literal, logEvents } from "./log_events.ts";
import { survivingMistakes } from "./mistakes.ts";
import { unchangeable } from "./reload.ts";
import { ServiceManager, takeManagerEnvironment } from "./service_manager.ts";
import { lockState } from "./state_lock.ts";

/**
 * Runs a daemon until it is told to end, and no guest needs it any more.
 *
 * @param config what it was started with
 * @throws when it cannot keep its state, or not listen
 */
export async function runDaemon(config: DaemonConfig): Promise<LifeEnd> {
  using early = new EarlySignals();
  using log = new DaemonLog(config.log);
  const { logger } = log;
  using manager = new ServiceManager(
    takeManagerEnvironment(),
    (text) => logger.warning(literal(text)),
  );
  using _state = lockState(config.stateDirectory);
  using _surviving = survivingMistakes((error) => tellMistake(logger, error));
  await using service = await Service.open(config);
  using _events = logEvents(service.events, logger);
  // Before anybody can ask: a request that was carried out is known by its key.
  const kept = await takeUpKept(service, logger);
  await using api = await ApiServer.open(service, (error) => tellMistake(logger, error));
  using life = new Life({
    service: {
      list: () => service.list(),
      stakes: () => stakesOf(service),
      drain: () => service.drain(),
    },
    manager,
    logger,
    reload: async () => {
      const read = await readConfig(config.path);
      await requireDirectories(read);
      await api.reload(read.api);
      service.reload(read);
      log.change(read.log);
      return unchangeable(config, read);
    },
  });
  early.passTo(life);
  for (const address of api.addresses) logger.info("Listening", { address });
  logger.info("Ready", { config: config.path, kept });
  const end = await life.run();
  logger.info(end === "drained" ? "Ended: no guest needs this any more" : "Ended by its user");
  return end;
}

/** What would be lost, a sentence for each session. */
function stakesOf(service: Service): string[] {
  return service.running.flatMap(({ id, atStake }) =>
    atStake === undefined ? [] : [`${id}: ${atStake}`]
  );
}

function tellMistake(logger: Logger, error: unknown): void {
  const text = error instanceof Error ? error.stack ?? error.message : String(error);
  logger.error(`Mistake of this program: ${literal(text)}`);
}
