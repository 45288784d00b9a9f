// Copyright the authors.
#include <vector>

using std::vector;

namespace pay {

/// Payments, in order.
template <typename T>
class Ledger : public Base {
public:
    explicit Ledger(T first) : entries{first} {}

    int append(T amount);

    T total() const {
        return sum(entries);
    }

private:
    vector<T> entries;
};

template <typename T>
int Ledger<T>::append(T amount)
{
    entries.push_back(amount);
    return 0;
}

}  // namespace pay

extern "C" {
int ledger_size();
}
