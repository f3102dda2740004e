"""An emulator of IMDS, for tests and to try the service without Azure. The service itself does not use it.

It signs with a temporary PKI. A verifier trusts this PKI only if it uses the trust directory that the emulator writes.
"""

from verifier.emulator.clouds import AzureCloud
from verifier.emulator.controls import Conditions
from verifier.emulator.documents import ManagedIdentity, MarketplacePlan, VirtualMachine
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.scenarios import ChainChoice, Scenario
from verifier.emulator.server import RunningEmulator, loopback_emulator
from verifier.emulator.virtual_machines import VirtualMachineError, read_virtual_machine

__all__ = [
    "AzureCloud",
    "ChainChoice",
    "Conditions",
    "Fault",
    "FaultKind",
    "ManagedIdentity",
    "MarketplacePlan",
    "RunningEmulator",
    "Scenario",
    "VirtualMachine",
    "VirtualMachineError",
    "loopback_emulator",
    "read_virtual_machine",
]
