import JSONDocument

/// Where an expression finds its values.
protocol ValueSource {
    func value(at path: QueryPath) -> Value
    func property(_ name: String) -> Value?
    func systemProperty(_ name: String) -> Value?
    func bodyValue(at path: BodyPath) -> Value
    func bodyPart(at path: BodyPath) -> Value
    func twinChangeIncludes(_ path: BodyPath) -> Value
    func isPresentInBody(_ path: BodyPath) -> Value
}

/// The values of a row of a twin query, which has neither properties nor a body.
struct RowSource<Row: QueryRow>: ValueSource {
    let row: Row

    func value(at path: QueryPath) -> Value { Value(row.value(at: path)) }
    func property(_ name: String) -> Value? { nil }
    func systemProperty(_ name: String) -> Value? { nil }
    func bodyValue(at path: BodyPath) -> Value { .undefined }
    func bodyPart(at path: BodyPath) -> Value { .undefined }
    func twinChangeIncludes(_ path: BodyPath) -> Value { .undefined }
    func isPresentInBody(_ path: BodyPath) -> Value { .undefined }
}

extension Expression {
    func truth(_ source: some ValueSource) -> Truth {
        switch self {
        case .all(let parts):
            var result = Truth.true
            for part in parts {
                switch part.truth(source) {
                case .false: return .false
                case .undefined: result = .undefined
                case .true: break
                }
            }
            return result
        case .any(let parts):
            var result = Truth.false
            for part in parts {
                switch part.truth(source) {
                case .true: return .true
                case .undefined: result = .undefined
                case .false: break
                }
            }
            return result
        case .not(let operand):
            switch operand.truth(source) {
            case .true: return .false
            case .false: return .true
            case .undefined: return .undefined
            }
        case .compare(let comparison, let left, let right):
            guard let ordering = Ordering.ofSameKind(left.value(source), right.value(source)) else { return .undefined }
            return Truth(comparison.holds(ordering))
        case .compareAnyKinds(let comparison, let left, let right):
            guard let ordering = Ordering.ofAnyKinds(left.value(source), right.value(source)) else { return .undefined }
            return Truth(comparison.holds(ordering))
        case .strictAll(let left, let right):
            let (first, second) = (left.value(source).truth, right.value(source).truth)
            if first == .undefined || second == .undefined { return .undefined }
            return Truth(first.isTrue && second.isTrue)
        case .strictAny(let left, let right):
            let (first, second) = (left.value(source).truth, right.value(source).truth)
            if first == .undefined || second == .undefined { return .undefined }
            return Truth(first.isTrue || second.isTrue)
        case .isAmong(let operand, let candidates, let negated):
            let value = operand.value(source)
            switch value {
            case .undefined, .compound: return .undefined
            default: return Truth(candidates.contains { Ordering.ofSameKind(value, $0) == .same } != negated)
            }
        default:
            return value(source).truth
        }
    }

    func value(_ source: some ValueSource) -> Value {
        switch self {
        case .literal(let value): value
        case .path(let path): source.value(at: path)
        case .property(let name): source.property(name) ?? .undefined
        case .systemProperty(let name): source.systemProperty(name) ?? .undefined
        case .propertyOr(let name, let other): source.property(name) ?? other.value(source)
        case .bodyValue(let path): source.bodyValue(at: path)
        case .bodyPart(let path): source.bodyPart(at: path)
        case .twinChangeIncludes(let path): source.twinChangeIncludes(path)
        case .isPresentInBody(let path): source.isPresentInBody(path)
        case .negate(let operand): Value(defined: operand.value(source).number.map { -$0 })
        case .arithmetic(let operation, let left, let right, let result):
            if let first = left.value(source).number, let second = right.value(source).number {
                result.value(operation(first, second))
            } else {
                .undefined
            }
        case .coalesce(let left, let right):
            if case let value = left.value(source), value.isDefined { value } else { right.value(source) }
        case .call(let function, let arguments): function.value(arguments.map { $0.value(source) })
        case .not, .compare, .compareAnyKinds, .all, .any, .strictAll, .strictAny, .isAmong: Value(truth(source))
        }
    }
}
