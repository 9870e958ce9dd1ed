#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The functions of the C library, apart from the language's own functions of the same names.
enum RealFunctions {
    static func exponential(_ value: Double) -> Double { exp(value) }
    static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
}
