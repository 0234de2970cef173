#pragma once
// A line of progress that fits its terminal.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

/// The columns that `text` takes on a terminal, or one more for a character that some terminals
/// draw narrow. Requires text without control characters (printable()).
size_t text_columns(std::string_view text);

/// "label [####....] done/total detail, detail" on at most `columns` columns. What does not fit
/// goes in this order: the longer part of the bar, details from the last on, the rest of the bar,
/// the end of the label, the count. Requires printable() texts.
std::string progress_text(std::string_view label, int64_t done, int64_t total,
                          std::span<const std::string> details, size_t columns);

}  // namespace macadam
