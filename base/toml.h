#pragma once
// TOML texts as values that know where they stand, and back.

#include <string>
#include <string_view>

#include "base/parameter_value.h"

namespace macadam {

/// Keys in the order of their bytes. Throws InputError naming the line of `file` that is not TOML.
ParameterTable parse_toml(std::string_view text, const std::string& file);

/// The value that an override `key=TEXT` gives: TOML where TEXT is some, else TEXT as a string.
/// `whole`: the override, which stands in errors. Throws InputError for more than one value and for
/// broken lists, tables and strings.
ParameterValue parse_override_value(std::string_view text, std::string_view whole);

/// `text` as a TOML string.
std::string toml_string(std::string_view text);

/// A value as TOML writes it on one line. Requires no date in it.
std::string toml_text(const ParameterValue& value);

}  // namespace macadam
