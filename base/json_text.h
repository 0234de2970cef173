#pragma once
// JSON values as text: the only place that writes them.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace macadam {

/// One line, or `indent` spaces a level. It is JSON whatever the texts in it are: bytes that are
/// not UTF-8 become U+FFFD, and what a terminal would obey (see printable()) is written \uXXXX.
std::string json_text(const nlohmann::json& value, int indent = -1);
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);

/// Adds a number, as short as it may be to be read back as the same; null for one that is not
/// finite. At most kLongestJsonNumber bytes.
void add_json_number(std::string& text, float value);
void add_json_number(std::string& text, uint8_t value);
inline constexpr size_t kLongestJsonNumber = 15;  // "-1.17549435e-38"

/// For files that are read again: one line, texts as they are. Throws InputError with `what`,
/// `where` and `remedy` when one of them is not UTF-8.
std::string exact_json_text(const nlohmann::ordered_json& value, std::string_view what,
                            std::string_view where, std::string_view remedy);

}  // namespace macadam
