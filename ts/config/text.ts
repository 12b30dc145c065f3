/**
 * A flag's text as the value its schema expects; what does not convert stays text, so that the
 * schema refuses it.
 */

import { z } from 'zod';
import { listFromText } from './list-text.ts';

/** The schema without `optional` and `default` around it. */
export function innerSchema(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault)
    inner = inner.def.innerType;
  return inner;
}

export function valueFromText(schema: z.core.$ZodType, text: string): unknown {
  const inner = innerSchema(schema);
  if (inner instanceof z.ZodArray) {
    return listFromText(text).map((part) => valueFromText(inner.element, part));
  }
  if (inner instanceof z.ZodNumber) return numberFromText(text);
  if (
    inner instanceof z.ZodUnion &&
    inner.options.some((option) => option instanceof z.ZodNumber)
  ) {
    return numberFromText(text);
  }
  return text;
}

function numberFromText(text: string): number | string {
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
}

/**
 * What help writes for a value of this schema, such as `n`; `one` for an element, where it has a
 * name.
 */
export function placeholder(schema: z.core.$ZodType, one?: string): string {
  const inner = innerSchema(schema);
  if (inner instanceof z.ZodArray) return `${placeholder(inner.element, one)},...`;
  if (one !== undefined) return one;
  if (inner instanceof z.ZodEnum && inner.options.length <= SHORT_LIST)
    return inner.options.join('|');
  if (inner instanceof z.ZodNumber) return inner.isInt ? 'n' : 'x';
  if (inner instanceof z.ZodUnion)
    return inner.options.map((option) => placeholder(option)).join('|');
  if (inner instanceof z.ZodLiteral) return [...inner.values].join('|');
  return 'name';
}

/** As many names as stand in a placeholder. */
const SHORT_LIST = 3;

/** The names to choose from, where they are too many for the placeholder. */
export function longChoice(schema: z.core.$ZodType): readonly string[] {
  const inner = innerSchema(schema);
  if (inner instanceof z.ZodArray) return longChoice(inner.element);
  return inner instanceof z.ZodEnum && inner.options.length > SHORT_LIST
    ? inner.options.map(String)
    : [];
}

/** The schema's default, or undefined. */
export function defaultOf(schema: z.core.$ZodType): unknown {
  return schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined;
}

export function descriptionOf(schema: z.ZodType): string | undefined {
  if (schema.description !== undefined) return schema.description;
  return schema instanceof z.ZodDefault || schema instanceof z.ZodOptional
    ? descriptionOf(schema.def.innerType as z.ZodType)
    : undefined;
}

/** Several values, written with commas. */
export function isList(schema: z.core.$ZodType): boolean {
  return innerSchema(schema) instanceof z.ZodArray;
}

/** A flag without a value. */
export function isSwitchSchema(schema: z.core.$ZodType): boolean {
  return innerSchema(schema) instanceof z.ZodBoolean;
}
