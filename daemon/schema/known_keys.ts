/** The keys that a schema knows at some place, for telling what a wrong one may have meant. */

import { z } from "../npm/zod_openapi.ts";

/**
 * Lists the keys that an object may have.
 *
 * @param schema of all
 * @param path the object's place in it
 * @returns none where the schema names no keys
 */
export function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let schemas: readonly z.ZodType[] = unwrapped(schema);
  for (const step of path) {
    schemas = schemas.flatMap((each) => inner(each, step)).flatMap(unwrapped);
  }
  return [
    ...new Set(
      schemas.flatMap((each) => each instanceof z.ZodObject ? Object.keys(each.shape) : []),
    ),
  ];
}

/** What is behind a schema that may be absent, is converted, or is one of several. */
function unwrapped(schema: z.ZodType): readonly z.ZodType[] {
  if (
    schema instanceof z.ZodOptional || schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
  ) {
    return unwrapped(schema.unwrap() as z.ZodType);
  }
  if (schema instanceof z.ZodPipe) return unwrapped(schema.in as z.ZodType);
  if (schema instanceof z.ZodUnion) return (schema.options as z.ZodType[]).flatMap(unwrapped);
  return [schema];
}

function inner(schema: z.ZodType, step: PropertyKey): readonly z.ZodType[] {
  if (schema instanceof z.ZodObject) {
    const shape = schema.shape as Record<string, z.ZodType>;
    return Object.hasOwn(shape, step) ? [shape[step as string]!] : [];
  }
  if (schema instanceof z.ZodRecord) return [schema.valueType as z.ZodType];
  if (schema instanceof z.ZodArray) return [schema.element as z.ZodType];
  return [];
}
