#pragma once
// Text for markup: escaping, base64, numbers.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

/// Makes any bytes safe in HTML and XML, both in text and in quoted attributes: the five special
/// characters become entities; bytes that are not UTF-8 and characters that XML forbids become
/// U+FFFD.
std::string escape_markup(std::string_view text);

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

/// "data:image/png;base64,..."
std::string png_data_uri(std::span<const uint8_t> png);

/// "7,760,097".
std::string grouped(uint64_t number);

/// A fraction as a percentage with one decimal: "87.3%"; "absent" where it is not finite.
std::string percent(double fraction, std::string_view if_not_finite = "absent");

/// "48 s", "12 min 05 s", "3 h 20 min"; an en dash where it is not finite or negative.
std::string duration(double seconds);

/// A few significant digits without trailing zeros ("0.25", "3e-04", "1200").
std::string short_number(double value);

}  // namespace macadam
