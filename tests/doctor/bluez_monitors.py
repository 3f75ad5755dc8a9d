"""The mocked bluetoothd of tests/mock, with advertisement monitors that are activated, as bluetoothd -E has them."""
import sys
from pathlib import Path

import dbus

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'mock'))
# A template is a module with these names; the functions are the template's D-Bus methods.
from bluez_adverts import *  # noqa: F401,F403,E402
from dbusmock import mockobject  # noqa: E402
from dbusmock.templates import bluez5  # noqa: E402

MANAGER_IFACE = 'org.bluez.AdvertisementMonitorManager1'
MONITOR_IFACE = 'org.bluez.AdvertisementMonitor1'


def register(adapter, path):
    """A mock is not told who calls: whoever has a monitor there is told that it is active."""
    bus = adapter.connection
    for name in bus.list_names():
        if name.startswith(':') and name != bus.get_unique_name():
            bus.call_async(name, f'{path}/monitor', MONITOR_IFACE, 'Activate', '', (), None, None)


@dbus.service.method(bluez5.BLUEZ_MOCK_IFACE, in_signature='s', out_signature='')
def AddMonitors(self, adapter):
    """Offers monitors on an adapter, which says what it can do."""
    adapter = mockobject.objects[f'/org/bluez/{adapter}']
    adapter.AddProperty(bluez5.ADAPTER_IFACE, 'Roles', dbus.Array(['central', 'peripheral'], signature='s', variant_level=1))
    adapter.AddProperties(MANAGER_IFACE, {
        'SupportedMonitorTypes': dbus.Array(['or_patterns'], signature='s', variant_level=1),
        'SupportedFeatures': dbus.Array([], signature='s', variant_level=1)})
    adapter.AddMethods(MANAGER_IFACE, [('RegisterMonitor', 'o', '', register), ('UnregisterMonitor', 'o', '', '')])


@dbus.service.method(bluez5.BLUEZ_MOCK_IFACE, in_signature='sb', out_signature='')
def SetPowered(self, adapter, powered):
    mockobject.objects[f'/org/bluez/{adapter}'].UpdateProperties(
        bluez5.ADAPTER_IFACE, {'Powered': dbus.Boolean(powered, variant_level=1)})
