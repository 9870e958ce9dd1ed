import Foundation
import JSONDocument
import Subprocess
import SystemPackage
import Testing

/// What keeps people from using a page who do not see it, or have no mouse: axe-core's rules, and checks of our own.
enum AccessibilityCheck {
    /// The script of axe-core, which `scripts/axe-core` gets once.
    private static let axe = Task { () throws -> String in
        let made = try await Subprocess.run(
            .path(FilePath("\(ProgramUnderTest.project)/scripts/axe-core")), output: .string(limit: 1 << 20),
            error: .string(limit: 1 << 20))
        try #require(made.terminationStatus.isSuccess, "axe-core: \(made.standardError)")
        return try String(
            contentsOfFile: made.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines), encoding: .utf8)
    }

    /// - Parameter onlyColours: for a page that differs from one that was looked at in its colours alone.
    /// - Returns: a line for each fault.
    static func faults(of page: BrowserPage, onlyColours: Bool = false) async throws -> [String] {
        if try await page.evaluate("typeof axe") == "undefined" {
            try await page.evaluate(try await axe.value + "; true")
        }
        let found = try await page.evaluate(
            """
            axe.run(document, { resultTypes: ['violations']\(onlyColours ? ", runOnly: ['color-contrast']" : "") }).then((results) => results.violations.flatMap((rule) =>
                rule.nodes.map((node) => rule.id + ': ' + node.target.join(' ') + ' ' + node.failureSummary)))
            """)
        return (found.array ?? []).compactMap(\.string) + (try await own(page))
    }

    /// Of what axe-core does not look at: one first heading, nothing beside the window, and a mark on whatever has the focus.
    private static func own(_ page: BrowserPage) async throws -> [String] {
        let found = try await page.evaluate(
            """
            (() => {
              const faults = [];
              const name = (node) => node.outerHTML.slice(0, 120);
              if (document.querySelectorAll('h1').length !== 1) faults.push('there is not one h1');
              if (document.documentElement.scrollWidth > innerWidth) {
                const wide = [...document.querySelectorAll('main *')].find((node) => node.getBoundingClientRect().right > innerWidth + 1 && !node.closest('.scroll, pre, .messages'));
                faults.push('wider than the window: ' + document.documentElement.scrollWidth + ' ' + (wide ? name(wide) : ''));
              }
              const before = document.activeElement;
              for (const node of document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')) {
                if (!node.checkVisibility() || node.disabled) continue;
                if (node.tabIndex < 0) { faults.push('out of reach of the keyboard: ' + name(node)); continue; }
                node.focus({ focusVisible: true, preventScroll: true });
                if (document.activeElement !== node) { faults.push('takes no focus: ' + name(node)); continue; }
                const style = getComputedStyle(node);
                if (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2) faults.push('shows no focus: ' + name(node));
              }
              before?.focus?.({ preventScroll: true });
              return faults;
            })()
            """)
        return (found.array ?? []).compactMap(\.string)
    }
}
