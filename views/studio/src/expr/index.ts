/**
 * The expression language of worklets and views; `worklets/tenfold_expressions` is its other half.
 * The language is described in docs/reference/expressions.md.
 */

export { Binding, bind } from "./binding";
export { BindingErrors, type Code, ExpressionError, type Path, type Problem } from "./errors";
export { type EvaluateOptions, Expression, isExpression, literal, parse } from "./expression";
export type { Json, Scope } from "./values";
