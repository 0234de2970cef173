#pragma once
// What stands round a configuration's text: overrides from the command line, variants, keys that
// there are not.

#include <span>
#include <string>

#include "base/field_reader.h"

namespace macadam {

/// The values of a configuration under "key=value" overrides with dotted keys; a value is TOML, or
/// a bare word that stands for a string. Throws InputError for what is no override.
ParameterTable with_overrides(ParameterTable values, std::span<const std::string> overrides);

/// `values` under those of a sweep's variant: what stands in its dotted keys and below its headers
/// is set one by one, anything else replaces what was there.
ParameterTable with_variant(ParameterTable values, const ParameterTable& variant);

/// Throws InputError for the first key that nobody read: with our name for it where it is another
/// tool's, else with the nearest valid key.
void reject_unknown(const FieldReader& reader);

}  // namespace macadam
