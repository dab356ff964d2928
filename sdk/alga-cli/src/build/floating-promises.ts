import { createRequire } from 'node:module';
import { join, relative } from 'node:path';

import type ts from 'typescript';

import { InferredTypes } from './inferred-types.js';

/** A promise of the author's code that nobody waits for. Line and column start at 1. */
export interface FloatingPromise {
  /** Relative to the project. */
  file: string;
  line: number;
  column: number;
  /** The expression, in one line, shortened. */
  expression: string;
  /** `forEach` was given an async function, whose promises it drops. */
  dropped: boolean;
  /** The text of the file, for a code frame. */
  source: string;
}

/** What is asked of the compiler where the project has no settings of its own. */
const DEFAULTS = { strict: true, skipLibCheck: true };
/** Whatever a project says: JavaScript counts, nothing is written, and of its packages one layer. */
const ALWAYS = { allowJs: true, noEmit: true, maxNodeModuleJsDepth: 1 };

/**
 * Finds promises that are neither awaited, returned, kept nor caught, in the entry module and what it
 * imports of the project, TypeScript or JavaScript. `void` in front of one says that it may be lost.
 *
 * @param root folder of the project
 * @param entry absolute path of the author's module
 */
export function findFloatingPromises(root: string, entry: string): FloatingPromise[] {
  const compiler = loadTypeScript(root);
  const program = compiler.createProgram([entry], compilerOptions(compiler, root));
  const own = program
    .getSourceFiles()
    .filter((file) => !file.isDeclarationFile && !program.isSourceFileFromExternalLibrary(file));
  const finder = new Finder(compiler, program.getTypeChecker(), root, own);
  for (const file of own) finder.search(file);
  return finder.found;
}

/**
 * The TypeScript that the project installed, or the one that this package depends upon: where the
 * project has none, or its native version, which has no such interface.
 */
function loadTypeScript(root: string): typeof ts {
  const own = createRequire(import.meta.url);
  try {
    const module = createRequire(join(root, 'package.json'))('typescript') as Partial<typeof ts>;
    if (typeof module.createProgram === 'function') return module as typeof ts;
  } catch {
    // Plain JavaScript needs none.
  }
  return own('typescript-compiler-api') as typeof ts;
}

function compilerOptions(compiler: typeof ts, root: string): ts.CompilerOptions {
  const host = { ...compiler.sys, onUnRecoverableConfigFileDiagnostic: () => undefined };
  for (const name of ['tsconfig.json', 'jsconfig.json']) {
    const parsed = compiler.getParsedCommandLineOfConfigFile(join(root, name), {}, host);
    if (parsed !== undefined) return { ...parsed.options, ...ALWAYS };
  }
  return {
    ...DEFAULTS,
    ...ALWAYS,
    target: compiler.ScriptTarget.ES2022,
    module: compiler.ModuleKind.ESNext,
    moduleResolution: compiler.ModuleResolutionKind.Bundler,
  };
}

/** Longest part of an expression that a message shows. */
const LONGEST = 60;

class Finder {
  readonly found: FloatingPromise[] = [];
  readonly #ts: typeof ts;
  readonly #checker: ts.TypeChecker;
  readonly #types: InferredTypes;
  readonly #root: string;

  /** @param files the author's own */
  constructor(
    compiler: typeof ts,
    checker: ts.TypeChecker,
    root: string,
    files: readonly ts.SourceFile[],
  ) {
    this.#ts = compiler;
    this.#checker = checker;
    this.#types = new InferredTypes(compiler, checker, files);
    this.#root = root;
  }

  search(file: ts.SourceFile): void {
    const visit = (node: ts.Node): void => {
      if (this.#ts.isExpressionStatement(node)) this.#judge(node.expression, file);
      this.#ts.forEachChild(node, visit);
    };
    visit(file);
  }

  #judge(expression: ts.Expression, file: ts.SourceFile): void {
    const dropped = this.#isForEachOfAsync(expression);
    if (!dropped && !this.#floats(expression)) return;
    const start = expression.getStart(file);
    const { line, character } = file.getLineAndCharacterOfPosition(start);
    const text = expression.getText(file).replace(/\s+/g, ' ');
    this.found.push({
      file: relative(this.#root, file.fileName),
      line: line + 1,
      column: character + 1,
      expression: text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text,
      dropped,
      source: file.text,
    });
  }

  /** Whether the value of an expression is a promise, or a list of them, that nobody looks at. */
  #floats(expression: ts.Expression): boolean {
    const compiler = this.#ts;
    if (compiler.isParenthesizedExpression(expression)) return this.#floats(expression.expression);
    if (compiler.isAwaitExpression(expression) || compiler.isVoidExpression(expression)) {
      return false;
    }
    if (compiler.isConditionalExpression(expression)) {
      return this.#floats(expression.whenTrue) || this.#floats(expression.whenFalse);
    }
    if (compiler.isBinaryExpression(expression)) return this.#operatorFloats(expression);
    const types = this.#types.of(expression);
    if (!types.some((one) => this.#isPromise(one, expression))) return false;
    return !compiler.isCallExpression(expression) || !this.#isHandled(expression);
  }

  #operatorFloats({ left, operatorToken, right }: ts.BinaryExpression): boolean {
    const { SyntaxKind } = this.#ts;
    switch (operatorToken.kind) {
      case SyntaxKind.CommaToken:
        return this.#floats(left) || this.#floats(right);
      case SyntaxKind.AmpersandAmpersandToken:
      case SyntaxKind.BarBarToken:
      case SyntaxKind.QuestionQuestionToken:
        return this.#floats(right);
      default:
        // An assignment keeps it; other operators make no promises.
        return false;
    }
  }

  /** `.catch(f)`, `.then(f, g)`, and `.finally(f)` behind one of them. */
  #isHandled({ expression, arguments: given }: ts.CallExpression): boolean {
    if (!this.#ts.isPropertyAccessExpression(expression)) return false;
    switch (expression.name.text) {
      case 'catch':
        return given.length > 0;
      case 'then':
        return given.length > 1;
      case 'finally':
        return !this.#floats(expression.expression);
      default:
        return false;
    }
  }

  #isForEachOfAsync(expression: ts.Expression): boolean {
    const compiler = this.#ts;
    if (!compiler.isCallExpression(expression)) return false;
    const { expression: called, arguments: given } = expression;
    const [callback] = given;
    if (!compiler.isPropertyAccessExpression(called) || called.name.text !== 'forEach')
      return false;
    if (callback === undefined) return false;
    const signatures = this.#types.of(callback).flatMap((one) => one.getCallSignatures());
    return signatures.some((one) => this.#isPromise(one.getReturnType(), callback));
  }

  #isPromise(type: ts.Type, at: ts.Node): boolean {
    const apparent = this.#checker.getApparentType(type);
    if (apparent.isUnion()) return apparent.types.some((one) => this.#isPromise(one, at));
    if (this.#checker.isArrayType(apparent) || this.#checker.isTupleType(apparent)) {
      const elements = this.#checker.getTypeArguments(apparent as ts.TypeReference);
      return elements.some((one) => this.#isPromise(one, at));
    }
    const then = apparent.getProperty('then');
    if (then === undefined) return false;
    return this.#checker.getTypeOfSymbolAtLocation(then, at).getCallSignatures().length > 0;
  }
}
