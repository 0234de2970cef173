#include "app/data_report.h"

#include <fmt/format.h>

#include "app/console.h"
#include "base/text.h"
#include "base/to_size.h"

namespace macadam {

void print_class_shares(const CheckReport& report) {
  print("{}", pad_right("class", 16));
  for (const SplitReport& split : report.splits) print("{}", pad_left(split.split, 12));
  print("\n");
  for (int c = 0; c < report.labels.classes(); ++c) {
    print("{}", pad_right(report.labels.class_names[to_size(c)], 16));
    for (const SplitReport& split : report.splits) {
      print("{}",
            pad_left(split.labeled ? fmt::format("{:.3f} %", 100 * split.share(c)) : "-", 12));
    }
    print("\n");
  }
  print("\n");
}

void print_issues(const CheckReport& report) {
  constexpr size_t kShown = 50;
  for (size_t i = 0; i < report.issues.size() && i < kShown; ++i) {
    const CheckIssue& issue = report.issues[i];
    print("{}: {}{}{}\n", issue.severity == CheckIssue::Severity::error ? "error" : "warning",
          issue.what, issue.where.empty() ? "" : ": ", issue.where);
  }
  if (report.issues.size() > kShown) {
    print("... and {} more (all of them with check --json)\n", report.issues.size() - kShown);
  }
  print("{} errors, {} warnings\n", report.errors(), report.warnings());
}

}  // namespace macadam
