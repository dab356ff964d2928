import type ts from 'typescript';

/** How far types are followed through parameters and variables; code that goes round ends here. */
const DEEPEST = 8;

/**
 * Types of expressions, also where plain JavaScript says nothing of them: a parameter without a type
 * has the types of what the project's own calls hand over.
 */
export class InferredTypes {
  readonly #ts: typeof ts;
  readonly #checker: ts.TypeChecker;
  readonly #files: readonly ts.SourceFile[];
  /** Calls of each function of the project, found when they are first asked for. */
  #calls: Map<ts.Symbol, ts.CallExpression[]> | undefined;

  /** @param files whose calls count */
  constructor(compiler: typeof ts, checker: ts.TypeChecker, files: readonly ts.SourceFile[]) {
    this.#ts = compiler;
    this.#checker = checker;
    this.#files = files;
  }

  /** What an expression may be; none where nothing is known. */
  of(expression: ts.Expression, depth = 0): ts.Type[] {
    const compiler = this.#ts;
    const type = this.#checker.getTypeAtLocation(expression);
    if (!this.#isUnknown(type)) return [type];
    if (depth > DEEPEST) return [];
    if (compiler.isParenthesizedExpression(expression))
      return this.of(expression.expression, depth + 1);
    if (compiler.isIdentifier(expression))
      return this.#ofSymbol(this.#checker.getSymbolAtLocation(expression), depth + 1);
    if (compiler.isPropertyAccessExpression(expression)) {
      const owners = this.of(expression.expression, depth + 1);
      return owners.flatMap((owner) =>
        this.#member(owner, expression.name.text, expression, depth + 1),
      );
    }
    if (compiler.isCallExpression(expression)) {
      const called = this.of(expression.expression, depth + 1);
      const signatures = called.flatMap((one) => one.getCallSignatures());
      return signatures.map((one) => one.getReturnType()).filter((one) => !this.#isUnknown(one));
    }
    return [];
  }

  #ofSymbol(symbol: ts.Symbol | undefined, depth: number): ts.Type[] {
    const compiler = this.#ts;
    const declaration = symbol?.valueDeclaration;
    if (declaration === undefined || depth > DEEPEST) return [];
    if (compiler.isPropertyAssignment(declaration)) return this.of(declaration.initializer, depth);
    if (compiler.isShorthandPropertyAssignment(declaration)) {
      const value = this.#checker.getShorthandAssignmentValueSymbol(declaration);
      return this.#ofSymbol(value, depth + 1);
    }
    if (compiler.isParameter(declaration)) return this.#ofParameter(declaration, depth);
    if (compiler.isVariableDeclaration(declaration)) {
      const { type, initializer } = declaration;
      return type === undefined && initializer !== undefined ? this.of(initializer, depth) : [];
    }
    return compiler.isBindingElement(declaration) ? this.#ofBinding(declaration, depth) : [];
  }

  /** `storage` of `({ storage }) => …` and of `const { storage } = host`. */
  #ofBinding(element: ts.BindingElement, depth: number): ts.Type[] {
    const compiler = this.#ts;
    const { parent: pattern, propertyName = element.name } = element;
    if (!compiler.isObjectBindingPattern(pattern) || !compiler.isIdentifier(propertyName))
      return [];
    const { parent: holder } = pattern;
    let owners: ts.Type[] = [];
    if (compiler.isParameter(holder)) owners = this.#ofParameter(holder, depth);
    else if (compiler.isVariableDeclaration(holder) && holder.initializer !== undefined) {
      owners = this.of(holder.initializer, depth);
    }
    return owners.flatMap((owner) => this.#member(owner, propertyName.text, element, depth));
  }

  /** What the calls of its function hand over; nothing where its author says what it is. */
  #ofParameter(parameter: ts.ParameterDeclaration, depth: number): ts.Type[] {
    const compiler = this.#ts;
    const typed = parameter.type !== undefined || compiler.getJSDocType(parameter) !== undefined;
    const { parent } = parameter;
    if (typed || parameter.dotDotDotToken !== undefined || depth > DEEPEST) return [];
    const place = parent.parameters.indexOf(parameter);
    const named = compiler.isFunctionDeclaration(parent) ? parent : parent.parent;
    const name = 'name' in named ? (named.name as ts.Node | undefined) : undefined;
    const symbol = name === undefined ? undefined : this.#checker.getSymbolAtLocation(name);
    const calls = symbol === undefined ? [] : (this.#callsOf().get(symbol) ?? []);
    const given = calls.flatMap((call) => call.arguments[place] ?? []);
    return given.flatMap((argument) => this.of(argument, depth + 1));
  }

  #callsOf(): Map<ts.Symbol, ts.CallExpression[]> {
    if (this.#calls !== undefined) return this.#calls;
    const calls = new Map<ts.Symbol, ts.CallExpression[]>();
    const visit = (node: ts.Node): void => {
      if (this.#ts.isCallExpression(node)) {
        const symbol = this.#called(node.expression);
        if (symbol !== undefined) calls.set(symbol, [...(calls.get(symbol) ?? []), node]);
      }
      this.#ts.forEachChild(node, visit);
    };
    this.#files.forEach(visit);
    this.#calls = calls;
    return calls;
  }

  /** The function that a name means, through imports. */
  #called(expression: ts.Expression): ts.Symbol | undefined {
    const symbol = this.#checker.getSymbolAtLocation(expression);
    const alias = symbol !== undefined && (symbol.flags & this.#ts.SymbolFlags.Alias) !== 0;
    return alias ? this.#checker.getAliasedSymbol(symbol) : symbol;
  }

  #member(owner: ts.Type, name: string, at: ts.Node, depth: number): ts.Type[] {
    const symbol = this.#checker.getApparentType(owner).getProperty(name);
    if (symbol === undefined) return [];
    const type = this.#checker.getTypeOfSymbolAtLocation(symbol, at);
    return this.#isUnknown(type) ? this.#ofSymbol(symbol, depth + 1) : [type];
  }

  #isUnknown(type: ts.Type): boolean {
    return (type.flags & this.#ts.TypeFlags.Any) !== 0;
  }
}
