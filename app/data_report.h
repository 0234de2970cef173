#pragma once
// What commands say of a data set that they have looked through.

#include "loader/check.h"

namespace macadam {

/// A line for each class, with its share of the pixels of each split.
void print_class_shares(const CheckReport& report);
/// A line for each issue, the first fifty, and how many errors and warnings there are.
void print_issues(const CheckReport& report);

}  // namespace macadam
